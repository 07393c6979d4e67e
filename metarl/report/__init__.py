"""What people look at: figures, videos, tables over several runs."""
