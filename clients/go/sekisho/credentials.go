package sekisho

import (
	"encoding/json"
	"fmt"
	"os"
)

// Credentials are what a client authenticates with to take tokens (RFC 6749 §2.3.1).
type Credentials struct {
	ClientID     string `json:"client_id"`
	ClientSecret string `json:"client_secret"`
}

// String names the client and keeps the secret to itself, so that no log or error shows it.
func (c Credentials) String() string {
	return "client " + c.ClientID
}

// GoString is String: %#v shows no secret either.
func (c Credentials) GoString() string {
	return c.String()
}

// ReadCredentials reads a JSON file with "client_id" and "client_secret".
func ReadCredentials(path string) (Credentials, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return Credentials{}, fmt.Errorf("reading credentials: %w", err)
	}
	var c Credentials
	if err := json.Unmarshal(content, &c); err != nil {
		return Credentials{}, fmt.Errorf("reading credentials: %s: %w", path, err)
	}
	if c.ClientID == "" || c.ClientSecret == "" {
		return Credentials{}, fmt.Errorf("reading credentials: %s needs client_id and client_secret", path)
	}
	return c, nil
}
