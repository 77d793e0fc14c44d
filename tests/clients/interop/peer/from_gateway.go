package main

import (
	"context"

	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/peer"
)

func fromGateway(ctx context.Context) bool {
	peer, ok := peer.FromContext(ctx)
	if !ok {
		return false
	}
	tls, ok := peer.AuthInfo.(credentials.TLSInfo)
	return ok && tls.SPIFFEID != nil && tls.SPIFFEID.String() == "spiffe://sekisho/gateway"
}
