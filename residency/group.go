package residency

import "meridian/chat"

// Share decides whether people of all these zones may be in one group: what each writes may be kept in every other's zone.
func Share(t chat.Topology, zones []chat.Zone) Decision {
	for _, from := range zones {
		for _, to := range zones {
			if d := Write(t, from, to); !d.Allowed() {
				return d
			}
		}
	}
	return allow("zones %v let each other keep copies", zones)
}

// Rows decides whether region self may take the rows of op from region from, for the owners that it serves: what it would
// keep is already kept in from for the same zone, or it is who is in a group, but nothing that anybody wrote, from a region
// that serves another zone of the group.
func Rows(t chat.Topology, op *chat.Op, from, self chat.Region) Decision {
	served, foreign := false, false
	for _, o := range op.Owners {
		if !t.InZone(self, o.Zone) {
			continue
		}
		served = true
		foreign = foreign || !t.InZone(from, o.Zone)
	}
	switch {
	case !served:
		return deny("region %s serves none of the op's zones", self)
	case !foreign:
		return allow("regions %s and %s serve the same owners", from, self)
	}
	return foreignRows(t, op, from)
}

// foreignRows decides about rows for a zone that from does not serve.
func foreignRows(t chat.Topology, op *chat.Op, from chat.Region) Decision {
	id := op.Owners[0].ID
	var zones []chat.Zone
	speaks := false
	for _, o := range op.Owners {
		if o.ID != id {
			return deny("region %s may not bring rows of people outside its zones", from)
		}
		zones = append(zones, o.Zone)
		speaks = speaks || t.InZone(from, o.Zone)
	}
	if !speaks {
		return deny("region %s serves no zone of the group", from)
	}
	r := op.Rows
	if r.Len() != len(r.Members)+len(r.Groups)+len(r.GroupZones)+len(r.Marks) {
		return deny("region %s may bring only who is in a group to zones that it does not serve", from)
	}
	for i := range r.Members {
		if r.Members[i].Owner != id || chat.UserID(r.Members[i].Conversation) != id {
			return deny("region %s may not bring rows of people outside its zones", from)
		}
	}
	return Share(t, zones)
}
