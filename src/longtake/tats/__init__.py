"""TATS: time-agnostic 3D VQGAN tokens, and transformers that write them clip after clip."""
