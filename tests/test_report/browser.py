"""A real browser for tests: Chromium without a window, spoken to over pipes in its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path

NAMES = ('chromium', 'chromium-browser', 'google-chrome')


def find() -> str | None:
    """The browser's command, if there is one."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One tab of a browser.

    Args:
        command: As :func:`find` gives it.
        profile: An empty folder for what it keeps.

    Attributes:
        events: What it told by itself, in order.
    """

    def __init__(self, command: str, profile: Path) -> None:
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        options = [
            '--headless=new',
            '--no-sandbox',  # root has none
            '--disable-gpu',
            '--disable-dev-shm-usage',
            '--no-first-run',
            '--disable-background-networking',
            f'--user-data-dir={profile}',
            '--window-size=1280,900',
            '--remote-debugging-pipe',
            'about:blank',
        ]
        self.process = subprocess.Popen(
            # The protocol's pipes are the descriptors 3 and 4.
            ['bash', '-c', f'exec "$@" 3<&{to_browser} 4>&{from_browser}', 'bash', command, *options],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        self.events: list[dict] = []
        self._buffer, self._number, self._session = b'', 0, None
        (target,) = [one for one in self.call('Target.getTargets')['targetInfos'] if one['type'] == 'page']
        attached = self.call('Target.attachToTarget', targetId=target['targetId'], flatten=True)
        self._session = attached['sessionId']
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_) -> None:
        os.close(self._write)
        os.close(self._read)
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def call(self, method: str, **arguments) -> dict:
        """The answer to one command."""
        self._number += 1
        message = dict(id=self._number, method=method, params=arguments)
        if self._session:
            message['sessionId'] = self._session
        os.write(self._write, json.dumps(message).encode() + b'\0')
        while True:
            answer = self._receive()
            if answer.get('id') == self._number:
                assert 'error' not in answer, answer
                return answer['result']
            self.events.append(answer)

    def open(self, page: Path) -> None:
        """Load a file and wait until all of it is there."""
        self.events.clear()
        self.call('Page.navigate', url=page.resolve().as_uri())
        while not any(event.get('method') == 'Page.loadEventFired' for event in self.events):
            self.events.append(self._receive())

    def evaluate(self, script: str):
        """The value of a JavaScript expression in the page."""
        answer = self.call('Runtime.evaluate', expression=script, returnByValue=True, awaitPromise=True)
        assert 'exceptionDetails' not in answer, answer
        return answer['result'].get('value')

    def click(self, selector: str, number: int = 0) -> None:
        """Press and release the mouse over an element."""
        x, y = self.evaluate(
            f'(() => {{ const e = document.querySelectorAll({json.dumps(selector)})[{number}];'
            "e.scrollIntoView({block: 'center'}); const r = e.getBoundingClientRect();"
            'return [r.x + r.width / 2, r.y + r.height / 2]; })()'
        )
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def complaints(self) -> list:
        """Errors and warnings of the console, and exceptions, since the page was opened."""
        self.evaluate('new Promise(done => setTimeout(done, 50))')  # what is under way arrives
        return [
            event
            for event in self.events
            if event.get('method') == 'Runtime.exceptionThrown'
            or (event.get('method') == 'Runtime.consoleAPICalled' and event['params']['type'] in ('error', 'warning'))
            or (event.get('method') == 'Log.entryAdded' and event['params']['entry']['level'] in ('error', 'warning'))
        ]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the page was opened."""
        return [
            event['params']['request']['url']
            for event in self.events
            if event.get('method') == 'Network.requestWillBeSent'
        ]

    def screenshot(self, path: Path, width: int = 1280) -> None:
        """The whole page as a PNG file."""
        height = self.evaluate('document.documentElement.scrollHeight')
        clip = dict(x=0, y=0, width=width, height=height, scale=1)
        shot = self.call('Page.captureScreenshot', format='png', captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot['data']))

    def _receive(self) -> dict:
        deadline = time.monotonic() + 60
        while b'\0' not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, 'the browser is silent'
            data = os.read(self._read, 1 << 20)
            assert data, f'the browser ended ({self.process.poll()})'
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b'\0')
        return json.loads(message)
