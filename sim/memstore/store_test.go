package memstore_test

import (
	"context"
	"testing"

	"meridian/chat"
	"meridian/sim/memstore"
	"meridian/store/storetest"
)

// place keeps the tables of a store over its crashes.
type place struct {
	tables *memstore.Tables
	cfg    storetest.Config
	open   *memstore.Store
}

func newPlace(_ testing.TB, cfg storetest.Config) storetest.Place {
	return &place{tables: memstore.New(cfg.Region, cfg.Node), cfg: cfg}
}

func (p *place) Open() (chat.Store, error) {
	p.open = memstore.Open(p.tables, memstore.Retention(p.cfg.Retention))
	return p.open, nil
}

func (p *place) OpenNode(node chat.NodeID) (chat.Store, error) {
	s := p.open.Node(node)
	_, err := s.Identity(context.Background()) // begins its life
	return s, err
}

func (p *place) Crash() { p.open.Abandon() }

func (p *place) OpenCopy() (chat.Store, error) {
	return memstore.Open(p.open.Copy(p.CopyDir()), memstore.Retention{}), nil
}

func (p *place) CopyDir() string { return "copy" }

// The store in memory keeps the contract of chat.Store.
func TestStore(t *testing.T) { storetest.Run(t, newPlace) }
