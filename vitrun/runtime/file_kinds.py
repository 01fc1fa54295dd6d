"""Files in folders of data, by their names in lower case: images, what is not data, and what programs leave there."""

IMAGE_SUFFIXES = frozenset(  # those that cannot be read too, so that such images are an error and not left out
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".mpo", ".png", ".apng", ".webp", ".bmp"),
        *(".ppm", ".pgm", ".pbm", ".pnm", ".tif", ".tiff", ".gif", ".heic", ".heif", ".jxl"),
        *(".avif", ".avifs", ".jp2", ".j2k", ".jpx", ".jpf", ".j2c", ".jpc"),
    }
)
UNREAD_SUFFIXES = frozenset(  # of files that no source reads; raw photographs would show their thumbnail
    {
        *(".txt", ".csv", ".tsv", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".py", ".log", ".pdf", ".svg"),
        *(".npy", ".npz", ".pt", ".pth", ".safetensors", ".ckpt", ".onnx", ".mp4", ".mov", ".avi", ".wav", ".zip"),
        *(".cr2", ".cr3", ".nef", ".arw", ".dng", ".orf", ".rw2", ".raf", ".pef", ".srw"),
    }
)
# Not opened to find out whether they are images
OTHER_SUFFIXES = UNREAD_SUFFIXES | {".json", ".parquet", ".tar", ".h5", ".mat"}

JUNK_FOLDERS = frozenset(  # of network drives, operating systems and programs; hidden ones begin with a dot
    {
        *("@eadir", "@recycle", "@recently-snapshot", "@sharebin", "@tmp", "@syno", "#recycle", "#snapshot"),
        *("__macosx", "lost+found", "$recycle.bin", "recycler", "system volume information", "__pycache__"),
    }
)
JUNK_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "picasa.ini", "synofile_thumb"})
