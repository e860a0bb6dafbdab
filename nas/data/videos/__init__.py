"""Real videos: captions, decoding, decoded clips on disk, and writing."""
