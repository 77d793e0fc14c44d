"""The marketplace platform: an outsider that opens shops and has their orders paid."""
