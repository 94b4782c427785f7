//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	dialWithin = 10 * time.Second
	tripWithin = 10 * time.Second
)

// socket is a welcomed client.
type socket struct{ ws *websocket.Conn }

// open opens the i-th socket at an address, and gives it when it is welcomed.
func (f *fleet) open(at string, i int) (*socket, error) {
	dialer := websocket.Dialer{HandshakeTimeout: dialWithin, ReadBufferSize: 512, WriteBufferSize: 512}
	ws, _, err := dialer.Dial("ws://"+at+"/v1/ws", nil)
	if err != nil {
		return nil, err
	}
	s := &socket{ws: ws}
	hello := map[string]string{"t": "hello", "token": f.tokens[i/socketsPerPerson], "device": fmt.Sprint("d", i)}
	if err := ws.WriteJSON(hello); err != nil {
		s.close()
		return nil, err
	}
	if err := s.until(`"t":"welcome"`); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *socket) close() { _ = s.ws.Close() }

// until reads to a frame that holds a text.
func (s *socket) until(text string) error {
	if err := s.ws.SetReadDeadline(time.Now().Add(tripWithin)); err != nil {
		return err
	}
	for {
		_, frame, err := s.ws.ReadMessage()
		if err != nil {
			return err
		}
		if bytes.Contains(frame, []byte(text)) {
			return nil
		}
		if bytes.Contains(frame, []byte(`"t":"error"`)) {
			return fmt.Errorf("answered %s", frame)
		}
	}
}

// roundTrips lets n clients ask one after another's answer for some time, and gives all their times.
func roundTrips(ctx context.Context, f *fleet, w way, n int, d time.Duration) (all []time.Duration, took time.Duration, err error) {
	sockets := make([]*socket, n)
	for i := range sockets {
		if sockets[i], err = f.open(w.at, i); err != nil {
			return nil, 0, fmt.Errorf("%s: %w", w.name, err)
		}
		defer sockets[i].close()
	}
	var mu sync.Mutex
	var done sync.WaitGroup
	began := time.Now()
	for _, s := range sockets {
		done.Go(func() {
			own, failed := s.trips(ctx, began.Add(d))
			mu.Lock()
			defer mu.Unlock()
			all = append(all, own...)
			if failed != nil {
				err = fmt.Errorf("%s: %w", w.name, failed)
			}
		})
	}
	done.Wait()
	return all, time.Since(began), err
}

var ping = []byte(`{"t":"ping"}`)

func (s *socket) trips(ctx context.Context, end time.Time) (times []time.Duration, err error) {
	for time.Now().Before(end) && ctx.Err() == nil {
		began := time.Now()
		if err := s.ws.WriteMessage(websocket.TextMessage, ping); err != nil {
			return times, err
		}
		if err := s.until(`"t":"pong"`); err != nil {
			return times, err
		}
		times = append(times, time.Since(began))
	}
	return times, ctx.Err()
}
