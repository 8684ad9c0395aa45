"""Phase 1: success predictor, expert labels and behaviour cloning."""
