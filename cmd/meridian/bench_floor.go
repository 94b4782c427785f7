package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/gorilla/websocket"
	"github.com/spf13/cobra"
)

// floorServer is the bare relay: what any durable chat server must do at least, and nothing more.
type floorServer struct {
	bench   *bench
	address string
	starts  int
}

func (s *floorServer) name() string                  { return "floor" }
func (s *floorServer) prepare(context.Context) error { return nil }

func (s *floorServer) start(ctx context.Context) (*child, error) {
	var err error
	if s.address, err = freeAddress(); err != nil {
		return nil, err
	}
	s.starts++
	dir := filepath.Join(s.bench.dir, fmt.Sprintf("floor-%s-%d", filepath.Base(s.address), s.starts))
	return s.bench.launch(ctx, "http://"+s.address+"/readyz", "bench", "floor", "--listen", s.address, "--data", dir)
}

func (s *floorServer) dial(i int) (*loadConn, error) {
	return dialLoad(s.address, fmt.Sprintf("/ws?id=%d", i), "")
}

// frame begins with the receiver in eight digits; the rest is what the receiver gets.
func (s *floorServer) frame(i int, id, _, text string) []byte {
	return fmt.Appendf(nil, `%08d{"t":"message","client_id":"%s","body":{"text":"%s"}}`, i^1, id, text)
}

// benchFloorCommand runs the relay; bench starts it as a process of its own.
func benchFloorCommand() *cobra.Command {
	var listen, data string
	cmd := &cobra.Command{
		Use: "floor", Hidden: true, Short: "Run the bare relay that bench compares with", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return failed(runFloor(cmd.Context(), listen, data)) },
	}
	cmd.Flags().StringVar(&listen, "listen", "127.0.0.1:0", "address")
	cmd.Flags().StringVar(&data, "data", "", "directory")
	_ = cmd.MarkFlagRequired("data") // the flag exists
	return cmd
}

// floor routes by number and syncs one row for each message before it passes it on. A commit takes all that waits.
type floor struct {
	db       *pebble.DB
	upgrader websocket.Upgrader

	mu    sync.Mutex
	conns map[uint32]*floorConn

	waiting sync.Mutex
	queue   []floorMessage
	wake    chan struct{}
}

type floorMessage struct {
	to      uint32
	payload []byte
}

// floorConn writes on demand, as a region's sockets do: no goroutine while nothing waits.
type floorConn struct {
	ws      *websocket.Conn
	mu      sync.Mutex
	queue   [][]byte
	writing bool
}

// floorLog keeps the engine's words from the benchmark's output, but for the last ones.
type floorLog struct{}

func (floorLog) Infof(string, ...any)  {}
func (floorLog) Errorf(string, ...any) {}
func (floorLog) Fatalf(format string, args ...any) {
	panic(fmt.Sprintf(format, args...))
}

// floorLinger is how long a commit waits for more when the last one was large.
const (
	floorLinger      = time.Millisecond
	floorLargeCommit = 32
)

func runFloor(ctx context.Context, listen, data string) error {
	db, err := pebble.Open(data, &pebble.Options{FormatMajorVersion: pebble.FormatWALSyncChunks, MemTableSize: 16 << 20, Logger: floorLog{}})
	if err != nil {
		return err
	}
	f := &floor{
		db: db, conns: map[uint32]*floorConn{}, wake: make(chan struct{}, 1),
		upgrader: websocket.Upgrader{ReadBufferSize: 512, WriteBufferSize: 1024, WriteBufferPool: &sync.Pool{}},
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return errors.Join(err, db.Close())
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /readyz", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /ws", f.serve)
	server := &http.Server{Handler: mux}
	committed := make(chan error, 1)
	go func() { committed <- f.commitLoop(ctx) }()
	go func() { _ = server.Serve(l) }() // ends with the process
	err = <-committed
	return errors.Join(err, server.Close(), db.Close())
}

func (f *floor) serve(w http.ResponseWriter, r *http.Request) {
	id, err := strconv.ParseUint(r.URL.Query().Get("id"), 10, 32)
	if err != nil {
		http.Error(w, "id must be a number", http.StatusBadRequest)
		return
	}
	ws, err := f.upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // the upgrader has answered
	}
	f.mu.Lock()
	f.conns[uint32(id)] = &floorConn{ws: ws}
	f.mu.Unlock()
	go f.read(ws)
}

const floorAddress = 8 // digits

func (f *floor) read(ws *websocket.Conn) {
	defer func() { _ = ws.Close() }()
	for {
		_, data, err := ws.ReadMessage()
		if err != nil || len(data) < floorAddress {
			return
		}
		to, err := strconv.ParseUint(string(data[:floorAddress]), 10, 32)
		if err != nil {
			return
		}
		f.waiting.Lock()
		f.queue = append(f.queue, floorMessage{to: uint32(to), payload: data[floorAddress:]})
		f.waiting.Unlock()
		select {
		case f.wake <- struct{}{}:
		default:
		}
	}
}

// commitLoop makes what waits durable with one sync, then passes it on.
func (f *floor) commitLoop(ctx context.Context) error {
	row, last := uint64(0), 0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-f.wake:
		}
		if last >= floorLargeCommit {
			time.Sleep(floorLinger)
		}
		f.waiting.Lock()
		messages := f.queue
		f.queue = nil
		f.waiting.Unlock()
		last = len(messages)
		if last == 0 {
			continue
		}
		batch := f.db.NewBatch()
		for _, m := range messages {
			row++
			key := binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint32(nil, m.to), row)
			if err := batch.Set(key, m.payload, nil); err != nil {
				return err
			}
		}
		if err := batch.Commit(pebble.Sync); err != nil {
			return err
		}
		for _, m := range messages {
			f.mu.Lock()
			c := f.conns[m.to]
			f.mu.Unlock()
			if c != nil {
				c.send(m.payload)
			}
		}
	}
}

func (c *floorConn) send(payload []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.queue = append(c.queue, payload)
	if !c.writing {
		c.writing = true
		go c.write()
	}
}

func (c *floorConn) write() {
	for {
		c.mu.Lock()
		queue := c.queue
		c.queue = nil
		c.writing = len(queue) > 0
		c.mu.Unlock()
		if len(queue) == 0 {
			return
		}
		for _, payload := range queue {
			if err := c.ws.WriteMessage(websocket.TextMessage, payload); err != nil {
				return // the reader ends the connection
			}
		}
	}
}
