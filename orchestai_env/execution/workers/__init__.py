"""Workers: endpoints, local pipelines and functions, what they cost and how they are declared."""
