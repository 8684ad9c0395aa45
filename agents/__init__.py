"""Phase 2 and everything that picks a worker: policy, PPO, baselines, evaluation, benchmark."""
