"""What every call has, whoever serves it: its record, its metadata, who called."""
