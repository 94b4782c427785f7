import { useEffect, useLayoutEffect, useRef, useState } from 'react';
import type { FormEvent, KeyboardEvent } from 'react';
import type { ConversationRow } from '../protocol/types';
import { useChat, useEngine } from './context';
import { CloseIcon, EditIcon, ReplyIcon, SendIcon } from './icons';
import type { Item } from './items';
import { formatNames, isMember, titleOf } from './names';
import { useTypists } from './typing';

/** What the next text will be: a message of its own, an answer, or a message's new text. */
export type Compose = { kind: 'new' } | { kind: 'reply' | 'edit'; item: Item };

interface Props {
  conversation: ConversationRow;
  compose: Compose;
  onCompose: (compose: Compose) => void;
  /** The last message of one's own that can be edited. */
  lastOwn: () => Item | undefined;
}

const draftKey = (id: string) => `meridian.draft:${id}`;

/** Composer writes a message. Enter sends, Shift+Enter breaks the line; the draft survives a reload of the tab. */
export function Composer({ conversation, compose, onCompose, lastOwn }: Props) {
  const engine = useEngine();
  const { id } = conversation;
  const [draft, setDraft] = useState(() => sessionStorage.getItem(draftKey(id)) ?? '');
  const [edited, setEdited] = useState('');
  const area = useRef<HTMLTextAreaElement>(null);
  const editing = compose.kind === 'edit';
  const text = editing ? edited : draft;
  const closed = closedBecause(conversation);

  useEffect(() => {
    if (matchMedia('(pointer: fine)').matches) area.current?.focus();
  }, []);
  useLayoutEffect(() => {
    if (compose.kind === 'new') return;
    if (compose.kind === 'edit') setEdited(compose.item.text);
    // After the menu, which gives the focus back to its message as it closes.
    const frame = requestAnimationFrame(() => area.current?.focus());
    return () => cancelAnimationFrame(frame);
  }, [compose]);
  useEffect(() => {
    if (draft === '') sessionStorage.removeItem(draftKey(id));
    else sessionStorage.setItem(draftKey(id), draft);
  }, [id, draft]);
  useLayoutEffect(() => {
    // The field grows with its text, up to the limit in the style sheet.
    const element = area.current;
    if (!element) return;
    element.style.height = 'auto';
    element.style.height = `${element.scrollHeight}px`;
  }, [text]);

  function submit(event?: FormEvent) {
    event?.preventDefault();
    if (text.trim() === '' || closed) return;
    if (compose.kind === 'edit' && compose.item.id !== undefined) engine.change(id, compose.item.id, { kind: 'edit', text });
    else {
      engine.send(id, text, compose.kind === 'reply' ? compose.item.id : undefined);
      setDraft('');
    }
    onCompose({ kind: 'new' });
    area.current?.focus();
  }
  function keys(event: KeyboardEvent) {
    if (event.nativeEvent.isComposing) return;
    if (event.key === 'Escape' && compose.kind !== 'new') onCompose({ kind: 'new' });
    else if (event.key === 'ArrowUp' && text === '' && compose.kind === 'new') {
      const item = lastOwn();
      if (item) onCompose({ kind: 'edit', item });
    } else if (event.key === 'Enter' && !event.shiftKey) submit();
    else return;
    event.preventDefault();
  }
  function write(value: string) {
    if (editing) return setEdited(value);
    setDraft(value);
    if (value !== '') engine.typing(id);
  }
  const title = titleOf(conversation);
  return (
    <div className="composer-area">
      <TypingLine conversation={conversation} />
      {compose.kind !== 'new' && <About compose={compose} onCancel={() => onCompose({ kind: 'new' })} />}
      <form className="composer" onSubmit={submit}>
        <textarea
          ref={area}
          data-testid="composer"
          aria-label={editing ? 'New text of the message' : `Message to ${title}`}
          placeholder={closed ?? (editing ? 'New text' : `Message ${title}`)}
          rows={1}
          dir="auto"
          value={text}
          disabled={closed !== undefined}
          onKeyDown={keys}
          onChange={(event) => write(event.target.value)}
        />
        <button
          type="submit"
          className="send-button"
          data-testid="send"
          aria-label={editing ? 'Save' : 'Send'}
          disabled={closed !== undefined || text.trim() === ''}
        >
          <SendIcon />
        </button>
      </form>
    </div>
  );
}

function closedBecause(conversation: ConversationRow): string | undefined {
  if (!isMember(conversation)) return 'You are no longer in this group';
  return conversation.state === 'blocked' ? `You blocked ${titleOf(conversation)}` : undefined;
}

function TypingLine({ conversation }: { conversation: ConversationRow }) {
  const typists = useTypists(conversation);
  return (
    <p className="typing-line" aria-live="polite">
      {typists.length > 0 && (
        <span data-testid="typing">
          <span className="typing-dots" aria-hidden="true">
            <i />
            <i />
            <i />
          </span>
          {formatNames(typists, 3)} {typists.length === 1 ? 'is' : 'are'} typing
        </span>
      )}
    </p>
  );
}

/** About says above the field which message the text is about. */
function About({ compose, onCancel }: { compose: Exclude<Compose, { kind: 'new' }>; onCancel: () => void }) {
  const reply = compose.kind === 'reply';
  const name = useChat((state) => state.me?.username) === compose.item.author ? 'yourself' : compose.item.author;
  return (
    <div className="about" data-testid="composer-about" data-kind={compose.kind}>
      {reply ? <ReplyIcon /> : <EditIcon />}
      <p>
        <strong dir="auto">{reply ? `Answering ${name}` : 'Editing your message'}</strong>
        <span dir="auto">{compose.item.text}</span>
      </p>
      <button type="button" className="icon-button" data-testid="composer-cancel" aria-label={reply ? 'Do not answer' : 'Stop editing'} onClick={onCancel}>
        <CloseIcon />
      </button>
    </div>
  );
}
