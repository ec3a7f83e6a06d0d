"""Several runs on one page: checked, comparable where they say so, and open to be recomputed."""
