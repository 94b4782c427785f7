package regionnode

import (
	"context"
	"sync"

	"meridian/front"
)

// askChallenge asks all other nodes, at once, for the answer to an ACME challenge: the server's connection may end here although
// another node has asked for the certificate. It returns with the first answer, or nil when there is none.
func (n *Node) askChallenge(ctx context.Context, key string) []byte {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	answers := make(chan []byte, len(n.opt.Peers))
	var asked sync.WaitGroup
	for peer := range n.opt.Peers {
		asked.Go(func() {
			if data, err := n.backbone.CallNode(ctx, peer, front.MethodChallenge, []byte(key)); err == nil && len(data) > 0 {
				answers <- data
			}
		})
	}
	go func() {
		asked.Wait()
		close(answers)
	}()
	return <-answers
}
