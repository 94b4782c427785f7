import { useState } from 'react';
import { useChat } from './context';
import { formatRtt } from './format';
import { WhyRegion } from './later';

/** RegionChip says which region serves this person, and opens the reasons. */
export function RegionChip() {
  const link = useChat((state) => state.link);
  const rtt = useChat((state) => state.rtt_ms);
  const pinned = useChat((state) => state.me?.pinned ?? false);
  const [open, setOpen] = useState(false);
  const online = link.state === 'online';
  return (
    <>
      <button
        type="button"
        className={online ? 'chip' : 'chip chip-off'}
        data-testid="region-chip"
        data-region={online ? link.region : ''}
        aria-haspopup="dialog"
        title="Why this region?"
        onClick={() => setOpen(true)}
      >
        <span className={online ? 'dot dot-online' : 'dot dot-off'} />
        {online ? link.region : 'no region'}
        {online && rtt !== undefined && ` · ${formatRtt(rtt)}`}
        {pinned && ' · pinned'}
      </button>
      {open && <WhyRegion onClose={() => setOpen(false)} />}
    </>
  );
}
