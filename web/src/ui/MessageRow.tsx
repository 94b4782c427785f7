import { memo } from 'react';
import { Avatar } from './Avatar';
import { useEngine } from './context';
import { formatDay, formatFull, formatTime } from './format';
import { EyeIcon, MoreIcon } from './icons';
import { stateText } from './items';
import type { Item, Quote } from './items';
import { linkify } from './linkify';
import { formatNames } from './names';
import { SendMark } from './SendMark';

/** What a row asks the list for. The same functions for all rows, so that a row is drawn again only when it changes. */
export interface RowActions {
  openMenu: (index: number) => void;
  jump: (message_id: string) => void;
  react: (item: Item, emoji: string, on: boolean) => void;
}

interface Props {
  item: Item;
  index: number;
  total: number;
  /** Whether it stands in a group, where everybody has a name and a face. */
  group: boolean;
  /** Whether somebody was just led here. */
  found: boolean;
  actions: RowActions;
}

/** MessageRow is one message, or a line about the group, with the day or the line "new" above it where one begins. */
export const MessageRow = memo(function MessageRow({ item, index, total, group, found, actions }: Props) {
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
      {item.note ? (
        <Note item={item} index={index} total={total} />
      ) : (
        <Message item={item} index={index} total={total} group={group} found={found} actions={actions} />
      )}
    </>
  );
});

/** Note tells what happened to the group. The keys stop at it as at a message. */
function Note({ item, index, total }: Pick<Props, 'item' | 'index' | 'total'>) {
  return (
    <article
      id={`message-${index}`}
      className="note"
      tabIndex={-1}
      aria-posinset={index + 1}
      aria-setsize={total}
      aria-label={item.text}
      title={formatFull(item.at)}
      data-testid="note"
    >
      <span dir="auto">{item.text}</span>
    </article>
  );
}

function Message({ item, index, total, group, found, actions }: Props) {
  const classes = ['message', item.mine ? 'message-mine' : 'message-theirs'];
  if (item.first) classes.push('message-first');
  if (item.last) classes.push('message-last');
  if (found) classes.push('message-found');
  if (item.deleted) classes.push('message-deleted');
  return (
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
      data-deleted={item.deleted}
      data-edited={item.edited}
      onContextMenu={(event) => {
        // A long press; a mouse keeps the browser's own menu.
        if (!item.may.answer || (event.nativeEvent as PointerEvent).pointerType !== 'touch') return;
        event.preventDefault();
        actions.openMenu(index);
      }}
    >
      <div className="message-line">
        {group && !item.mine && <span className="message-face">{item.last && <Avatar name={item.author} size="small" />}</span>}
        <Bubble item={item} group={group} jump={actions.jump} />
        {item.may.answer && (
          <button
            type="button"
            className="message-more"
            data-testid="message-more"
            tabIndex={-1}
            aria-label="React, reply and more"
            title="React, reply and more"
            onClick={() => actions.openMenu(index)}
          >
            <MoreIcon />
          </button>
        )}
      </div>
      {item.reactions.length > 0 && <Chips item={item} react={actions.react} />}
      {item.refusals.map((text) => (
        <p key={text} className="message-failure" data-testid="message-refusal">
          {text}
        </p>
      ))}
      {item.state === 'failed' && <Failed item={item} />}
      {item.seenBy.length > 0 && <SeenBy names={item.seenBy} />}
    </article>
  );
}

function Bubble({ item, group, jump }: { item: Item; group: boolean; jump: (id: string) => void }) {
  return (
    <div className="bubble">
      {group && !item.mine && item.first && (
        <span className="message-author" data-testid="message-author" dir="auto">
          {item.author}
        </span>
      )}
      {item.reply && <QuoteButton quote={item.reply} jump={jump} />}
      {item.deleted ? (
        <em className="message-text" data-testid="message-text">
          Message deleted
        </em>
      ) : (
        <span className="message-text" dir="auto" data-testid="message-text">
          {linkify(item.text)}
        </span>
      )}
      <span className="message-meta">
        {item.edited && <span data-testid="message-edited">edited</span>}
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
  );
}

function QuoteButton({ quote, jump }: { quote: Quote; jump: (id: string) => void }) {
  return (
    <button type="button" className="quote" data-testid="quote" tabIndex={-1} onClick={() => jump(quote.id)}>
      <span className="visually-hidden">In answer to </span>
      <span className="quote-author" dir="auto">
        {quote.author ?? 'An earlier message'}
      </span>
      <span className="quote-text" dir="auto">
        {quote.text ?? 'Show it'}
      </span>
    </button>
  );
}

function Chips({ item, react }: { item: Item; react: RowActions['react'] }) {
  return (
    <div className="chips" data-testid="reactions">
      {item.reactions.map(({ emoji, mine, names }) => (
        <button
          key={emoji}
          type="button"
          className="chip-emoji"
          data-testid="reaction"
          data-emoji={emoji}
          data-count={names.length}
          tabIndex={-1}
          aria-pressed={mine}
          aria-label={`${emoji}, ${formatNames(names)}`}
          title={formatNames(names, 12)}
          disabled={!item.may.answer}
          onClick={() => react(item, emoji, !mine)}
        >
          {emoji} <span>{names.length}</span>
        </button>
      ))}
    </div>
  );
}

/** SeenBy shows the readers whose reading ends at this message. */
function SeenBy({ names }: { names: string[] }) {
  const text = `Seen by ${formatNames(names)}`;
  return (
    <p className="seen-by" data-testid="seen-by" title={`Seen by ${formatNames(names, 24)}`}>
      <EyeIcon />
      <span className="visually-hidden">{text}</span>
      {names.slice(0, 5).map((name) => (
        <Avatar key={name} name={name} size="tiny" />
      ))}
      {names.length > 5 && <span aria-hidden="true">+{names.length - 5}</span>}
    </p>
  );
}

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
