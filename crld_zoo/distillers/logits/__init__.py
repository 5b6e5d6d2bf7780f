"""Methods that compare logits."""
