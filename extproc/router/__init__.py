"""The data-plane process: a supervisor, N workers, one endpoint each; every decision is bytes in, bytes out."""
