package messages

import (
	"context"
	"slices"
	"time"

	"meridian/chat"
	"meridian/replication"
)

// sharedTick is tickEvery where nodes share a store: what one of them writes is shown by the others once they have its marks.
const sharedTick = 10 * time.Millisecond

// shared says that other nodes use the same store.
func (s *Service) shared() bool { return s.opt.Core.Lease > 0 }

func (s *Service) tickEvery() time.Duration {
	if s.shared() {
		return sharedTick
	}
	return tickEvery
}

// renew extends this node's lease and reads who else is there.
func (s *Service) renew(ctx context.Context, out replication.Renew) {
	s.beside(func() replication.Input {
		ctx, cancel := context.WithTimeout(ctx, s.opt.Core.Lease)
		defer cancel()
		err := s.opt.Store.Renew(ctx, out.Until, out.Low)
		if err != nil {
			return replication.Renewed{Until: out.Until, Err: err}
		}
		rows, err := s.opt.Store.Nodes(ctx)
		return replication.Renewed{Until: out.Until, Nodes: rows, Err: err}
	})
}

// adopt makes this node answerable for a life that has ended.
func (s *Service) adopt(ctx context.Context, out replication.Adopt) {
	s.beside(func() replication.Input {
		in := replication.Adopted{Life: out.Life}
		if in.Row, in.Err = s.opt.Store.Adopt(ctx, out.Life, out.Before); in.Err != nil {
			return in
		}
		if in.Positions, in.Err = s.opt.Store.Positions(ctx, out.Life); in.Err == nil && s.shared() {
			in.Tail, in.Err = s.tailOf(ctx, in.Row)
		}
		if in.Err == nil {
			in.Parked, in.Err = s.opt.Store.Parked(ctx)
		}
		s.opt.Log.Warn("op log adopted", "life", out.Life, "last", in.Row.LastSeq, "tail", len(in.Tail), "err", in.Err)
		s.opt.Metrics.Count("op_logs_adopted_total")
		return in
	})
}

// tailPage is how many ops of a tail are read at once.
const tailPage = 512

// tailOf reads the ops of a life that were logged after its last low mark, from the end backwards.
func (s *Service) tailOf(ctx context.Context, row chat.NodeRow) ([]chat.Op, error) {
	var tail []chat.Op
	for upTo := row.LastSeq; upTo > 0; {
		after := upTo - min(upTo, tailPage)
		ops, err := s.opt.Store.ReadLog(ctx, row.Stream, after, upTo, "", tailPage)
		if err != nil {
			return nil, err
		}
		first := len(ops)
		for first > 0 && ops[first-1].Logged > row.Low {
			first--
		}
		tail = append(append([]chat.Op(nil), ops[first:]...), tail...)
		if first > 0 {
			break
		}
		upTo = after
	}
	return tail, nil
}

// readParked asks the store what is parked of a stream, and what it knows of the sends in it.
func (s *Service) readParked(ctx context.Context, out replication.ReadParked) {
	s.beside(func() replication.Input {
		in := replication.ParkedRead{Stream: out.Stream, Known: make(map[int][]chat.RetryRow)}
		if in.Rows, in.High, in.Err = s.parked(ctx, out.Stream); in.Err != nil {
			return in
		}
		for i := range in.Rows {
			for _, one := range sendsOf(&in.Rows[i].Op) {
				rows, err := s.opt.Store.Retries(ctx, one.sender, one.client)
				if err != nil {
					in.Err = err
					return in
				}
				if len(rows) > 0 {
					in.Known[i] = append(in.Known[i], rows...)
				}
			}
		}
		return in
	})
}

// parked gives what is parked of a stream, and then the largest high-water mark of the region's nodes.
func (s *Service) parked(ctx context.Context, stream chat.StreamID) (rows []chat.ParkedRow, high chat.HLC, err error) {
	if rows, err = s.opt.Store.Parked(ctx); err != nil {
		return nil, 0, err
	}
	rows = slices.DeleteFunc(rows, func(row chat.ParkedRow) bool { return row.Op.Stream != stream })
	nodes, err := s.opt.Store.Nodes(ctx)
	for _, node := range nodes {
		high = max(high, node.HighWater)
	}
	return rows, high, err
}

// review reads what other nodes may have written at the same time.
func (s *Service) review(ctx context.Context, out replication.Review) {
	s.beside(func() replication.Input {
		in := replication.Reviewed{Review: out.ID}
		for _, key := range out.Sends {
			rows, err := s.opt.Store.Retries(ctx, key.Author, key.Client)
			if err != nil {
				in.Err = err
				return in
			}
			in.Sends = append(in.Sends, rows)
		}
		return in
	})
}

// beside does something that touches the store beside the loop, and gives the loop what came of it.
func (s *Service) beside(do func() replication.Input) {
	s.done.Go(func() { s.inputs.put(item{input: do()}) })
}

func (s *Service) lifeOver(reason string) {
	s.opt.Log.Error("this life of the node is over", "stream", s.stream, "reason", reason)
	s.wrote(&chat.Error{Code: chat.CodeRegionDegraded, Op: "messages.Service", Message: "this life of the node is over: " + reason})
	if s.opt.LifeOver != nil {
		s.opt.LifeOver()
	}
}
