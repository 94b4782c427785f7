// Package meridian is the Go client of a Meridian chat deployment.
//
// An API makes the REST calls: sign-up, log-in, contacts, history. A Client keeps one socket to whatever region serves best
// and does what the protocol asks of a client: it keeps every send until the region or the zone has it for good, sends again
// with the same client id after a failure, resumes by cursor in another region when its own is lost, drops what comes twice
// and gives everything as events.
//
//	api := &meridian.API{BaseURL: "https://chat.example.org"}
//	account, err := api.LogIn(ctx, meridian.Credentials{Username: "ada", Password: "…"})
//	…
//	client := meridian.New(meridian.Options{
//		Router: "https://chat.example.org",
//		Tokens: account.Tokens,
//		Handle: func(e meridian.Event) {
//			if m, ok := e.(meridian.Received); ok {
//				fmt.Println(m.Message.Sender.Username, m.Message.Text)
//			}
//		},
//	})
//	go client.Run(ctx)
//	client.Send(meridian.Outgoing{ToUser: "grace", Text: "hello"})
//
// The package needs the standard library and gorilla/websocket only.
package meridian
