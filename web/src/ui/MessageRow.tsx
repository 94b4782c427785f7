import { memo } from 'react';
import { useEngine } from './context';
import { formatDay, formatFull, formatTime } from './format';
import { stateText } from './items';
import type { Item } from './items';
import { linkify } from './linkify';
import { SendMark } from './SendMark';

interface Props {
  item: Item;
  index: number;
  total: number;
}

/** MessageRow is one message, with the day or the line "new" above it where one begins. */
export const MessageRow = memo(function MessageRow({ item, index, total }: Props) {
  const classes = ['message', item.mine ? 'message-mine' : 'message-theirs'];
  if (item.first) classes.push('message-first');
  if (item.last) classes.push('message-last');
  return (
    <>
      {item.day !== undefined && (
        <p className="day">
          <span>{formatDay(item.day, Date.now())}</span>
        </p>
      )}
      {item.unread && (
        <p className="new-line" data-testid="unread-line">
          <span>New</span>
        </p>
      )}
      <article
        id={`message-${index}`}
        className={classes.join(' ')}
        tabIndex={-1}
        aria-posinset={index + 1}
        aria-setsize={total}
        aria-label={`${item.mine ? 'You' : item.author}, ${formatTime(item.at)}`}
        data-testid="message"
        data-state={item.state}
        data-id={item.id ?? ''}
        data-client-id={item.client_id}
        data-mine={item.mine}
      >
        <div className="bubble">
          <span className="message-text" dir="auto" data-testid="message-text">
            {linkify(item.text)}
          </span>
          <span className="message-meta">
            <time dateTime={new Date(item.at).toISOString()} title={formatFull(item.at)}>
              {formatTime(item.at)}
            </time>
            {item.state !== 'received' && (
              <>
                <SendMark state={item.state} />
                <span className="visually-hidden">{stateText[item.state]}</span>
              </>
            )}
          </span>
        </div>
        {item.state === 'failed' && <Failed item={item} />}
      </article>
    </>
  );
});

function Failed({ item }: { item: Item }) {
  const engine = useEngine();
  return (
    <p className="message-failure">
      {item.failure ?? stateText.failed}{' '}
      <button type="button" className="link-button" data-testid="retry" onClick={() => engine.retry(item.client_id)}>
        Try again
      </button>{' '}
      <button type="button" className="link-button" data-testid="discard" onClick={() => engine.discard(item.client_id)}>
        Delete
      </button>
    </p>
  );
}
