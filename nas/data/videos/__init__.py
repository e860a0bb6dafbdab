"""Folders of real videos: captions, decoding, and decoded clips on disk."""
