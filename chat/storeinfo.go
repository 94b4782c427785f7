package chat

// StoreKind names what keeps a region's rows.
type StoreKind string

// The kinds.
const (
	StoreEmbedded  StoreKind = "embedded"
	StoreCassandra StoreKind = "cassandra"
)

// StoreInfo says what a region's store is, for who backs it up and restores it.
type StoreInfo struct {
	Kind StoreKind `json:"kind"`
	// Version is the layout of an embedded store, or the schema of a keyspace; 0: not known.
	Version  int    `json:"version"`
	Keyspace string `json:"keyspace,omitempty"`
	// Accounts names where accounts and sessions lie when they do not lie with the other rows: a backup does not hold them.
	Accounts string `json:"accounts,omitempty"`
}
