// Package sekisho calls services that stand behind a Sekisho gateway.
//
// Open one connection, and as many token sources on it as there are clients to act for:
//
//	conn, err := sekisho.Dial("gateway.example.com:443", "ca.pem")
//	...
//	credentials, err := sekisho.ReadCredentials("shop.json")
//	...
//	source := sekisho.NewTokenSource(conn, credentials)
//	payments := paymentsv1.NewPaymentServiceClient(sekisho.Authorized(conn, source))
//
// Each call then carries a good access token. Why a call was refused is told by [RefusalOf].
package sekisho
