"""What the tests of this room share."""

import pytest
from mmengine.logging import MMLogger


@pytest.fixture
def log(caplog):
    """``log.text`` is what was said to MMEngine's current logger, which hands nothing on to Python's."""
    logger = MMLogger.get_current_instance()
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)
