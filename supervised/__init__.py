"""Phase 1: success predictor, expert labels, a learned planner and behaviour cloning.

At the top are the commands (`python -m supervised.train_phase1` and others), `learned_planner`,
with which other programs load checkpoints, and what several packages share. A package imports only
those above it:

    texts                encoder, embeddings, form, near-duplicates
    plans                plans as data: read, split, looked up, scored, copied
    planner              the learned planner: network, training, checkpoint, search
    planner_comparison   planners of several seeds, scored and reported
    success              the success predictor, its candidates and scores
    cloning              demonstrations of an expert, and the policy that learns them
    shapes               the shape of plan that a request needs
"""
