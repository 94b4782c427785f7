import { useChat } from './context';
import { Dialog } from './Dialog';
import { formatRtt, formatZone } from './format';
import { stateText } from './items';
import type { SendState } from './items';
import { SendMark } from './SendMark';

/** WhyRegion gives the router's reasons, the regions in reserve, and what the marks on messages promise. */
export default function WhyRegion({ onClose }: { onClose: () => void }) {
  const { link, route, me, max_level: maxLevel } = useChat((state) => state);
  const current = link.state === 'online' ? link.endpoint.url : undefined;
  return (
    <Dialog title="Why this region?" onClose={onClose}>
      <p>
        {link.state === 'online' ? (
          <>
            You are connected to <strong>{link.region}</strong>.
          </>
        ) : (
          'You are not connected right now; the regions below are tried in turn.'
        )}{' '}
        {me && (
          <>
            Your data is kept in <strong>{formatZone(me.home_zone)}</strong>
            {me.pinned ? ', where you are pinned.' : '.'}
          </>
        )}
      </p>
      {route && route.reasons.length > 0 && (
        <ol className="reasons" data-testid="region-reasons">
          {route.reasons.map((reason, i) => (
            <li key={i}>{reason}</li>
          ))}
        </ol>
      )}
      {route && route.endpoints.length > 0 && (
        <table className="regions">
          <caption>Regions for you, best first</caption>
          <thead>
            <tr>
              <th scope="col">Region</th>
              <th scope="col">Round trip</th>
              <th scope="col">Now</th>
            </tr>
          </thead>
          <tbody>
            {route.endpoints.map(({ region, url, rtt_ms }) => (
              <tr key={url}>
                <th scope="row">{region}</th>
                <td>{rtt_ms === undefined ? '–' : formatRtt(rtt_ms)}</td>
                <td>{url === current ? 'connected' : 'in reserve'}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      <Legend maxLevel={maxLevel} />
    </Dialog>
  );
}

function Legend({ maxLevel }: { maxLevel: string }) {
  const states: SendState[] = ['pending', 'sent', 'safe', 'delivered', 'read'];
  return (
    <section className="legend">
      <h3>What the marks on your messages mean</h3>
      <ul>
        {states.map((state) => (
          <li key={state}>
            <SendMark state={state} />
            {state === 'safe' && maxLevel === 'region' ? 'Safe: the one region of your zone has it' : stateText[state]}
          </li>
        ))}
      </ul>
    </section>
  );
}
