"""How the program runs: threads, memory, processes, progress. It knows nothing of features."""
