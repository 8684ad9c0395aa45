"""Shape of plan that a request needs: single, chain or dag."""
