"""`sekisho demo`: tells the story."""
