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
// that serves another zone of the group. Either way a step of a group comes from a region of the zone of who made it: any other
// could add a zone of its own to a group, and have what is written there brought to it.
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
	case !steps(t, op.Rows, from):
		return deny("region %s may not speak for who made a step of the group", from)
	case !foreign:
		return allow("regions %s and %s serve the same owners", from, self)
	}
	return foreignRows(t, op, from)
}

// steps says whether from may speak for everybody who made the steps of groups among the rows.
func steps(t chat.Topology, r *chat.Rows, from chat.Region) bool {
	for i := range r.Members {
		if !t.InZone(from, r.Members[i].ByZone) {
			return false
		}
	}
	for i := range r.Groups {
		if !t.InZone(from, r.Groups[i].ByZone) {
			return false
		}
	}
	return true
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
	for i := range r.Groups {
		if r.Groups[i].Owner != id || chat.UserID(r.Groups[i].Conversation) != id {
			return deny("region %s may not bring rows of people outside its zones", from)
		}
	}
	return Share(t, zones)
}
