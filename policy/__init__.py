"""Who may call what, as files say it: read, judged, explained, compared and handed out."""
