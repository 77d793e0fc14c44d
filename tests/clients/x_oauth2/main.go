// Takes a token with golang.org/x/oauth2, which has neither discovery nor revocation, and prints it.
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
)

var styles = map[string]oauth2.AuthStyle{
	"header":     oauth2.AuthStyleInHeader,
	"parameters": oauth2.AuthStyleInParams,
	"detected":   oauth2.AuthStyleAutoDetect,
}

func main() {
	config := clientcredentials.Config{
		ClientID:     os.Getenv("CLIENT_ID"),
		ClientSecret: os.Getenv("CLIENT_SECRET"),
		TokenURL:     os.Getenv("ISSUER") + "/oauth2/token",
		Scopes:       []string{"reviews.read"},
		AuthStyle:    styles[os.Getenv("STYLE")],
	}
	token, err := config.Token(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token.AccessToken)
}
