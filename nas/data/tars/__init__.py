"""Videos and images in tars, in the convention of WebDataset."""
