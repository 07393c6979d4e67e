"""The public face: meta-learners with learn, save, adapt and predict."""
