import { useVirtualizer } from '@tanstack/react-virtual';
import type { VirtualItem, Virtualizer } from '@tanstack/react-virtual';
import { useCallback, useEffect, useId, useLayoutEffect, useRef, useState } from 'react';
import type { KeyboardEvent, RefObject } from 'react';
import type { ConversationRow } from '../protocol/types';
import { useEngine } from './context';
import { DownIcon } from './icons';
import type { Item } from './items';
import { MessageRow } from './MessageRow';
import { titleOf } from './names';
import { useJump } from './useJump';
import { useMenu } from './useMenu';

/** Distances in pixels: when the next page of the past is fetched, and how near to the end counts as at the end. */
const prefetch_px = 900;
const end_px = 60;

interface Props {
  conversation: ConversationRow;
  items: Item[];
  /** Whether the pages down to the first unread message are there. */
  ready: boolean;
  /** Whether the beginning of the conversation is among the items. */
  complete: boolean;
  onReply: (item: Item) => void;
  onEdit: (item: Item) => void;
}

/**
 * MessageList shows a conversation of any length with the rows on the screen only. It is one tab stop; arrows walk from
 * message to message, and Enter opens the menu of one. It opens at the first unread message, and stays where it is when older ones come in above.
 */
export function MessageList({ conversation, items, ready, complete, onReply, onEdit }: Props) {
  const scroller = useRef<HTMLDivElement>(null);
  const virtualizer = useVirtualizer({
    count: items.length,
    getScrollElement: () => scroller.current,
    estimateSize: (index) => estimate(items[index]),
    getItemKey: (index) => items[index]?.key ?? index,
    overscan: 8,
    anchorTo: 'end',
    followOnAppend: true,
    scrollEndThreshold: end_px,
    paddingStart: 16,
    paddingEnd: 8,
  });
  virtualizer.shouldAdjustScrollPositionOnItemSizeChange = isAboveFold;
  const placed = usePlacement(virtualizer, items, ready);
  const atEnd = useReading({ virtualizer, scroller, conversation, items, placed, complete });
  const [active, setActive] = useState(-1);
  const { found, jump } = useJump(virtualizer, conversation.id, items);
  const { menu, menuKey, actions } = useMenu({ conversation, items, jump, onReply, onEdit });
  const hint = useId();
  const fresh = atEnd ? 0 : conversation.unread;

  // Who sends wants to see it go, wherever the list stands.
  const lastKey = items.at(-1)?.key;
  const lastMine = items.at(-1)?.mine && items.at(-1)?.state === 'pending';
  useEffect(() => {
    if (lastMine) virtualizer.scrollToEnd();
  }, [lastKey, lastMine, virtualizer]);

  function keys(event: KeyboardEvent) {
    const onMessage = (event.target as HTMLElement).matches('article');
    // A message that was clicked has the focus, too, though no key led there.
    const here = active < 0 && onMessage ? Number((event.target as HTMLElement).id.slice('message-'.length)) : active;
    const opens = event.key === 'Enter' || event.key === 'ContextMenu' || (event.key === 'F10' && event.shiftKey);
    if (opens && items[here]?.may.answer && !(event.target as HTMLElement).closest('a, button')) {
      event.preventDefault();
      return actions.openMenu(here);
    }
    const from = here < 0 ? items.length : here;
    const steps: Record<string, number> = { ArrowUp: from - 1, ArrowDown: from + 1, Home: 0, End: items.length - 1 };
    const to = steps[event.key];
    if (to === undefined || items.length === 0 || (event.target as HTMLElement).closest('a, button')) return;
    event.preventDefault();
    const next = Math.max(0, Math.min(items.length - 1, to));
    setActive(next);
    virtualizer.scrollToIndex(next, { align: 'auto' });
    requestAnimationFrame(() => {
      // The row may be rendered by this very scroll; and a menu may have opened since, which has the focus then.
      if (!scroller.current?.contains(document.activeElement)) return;
      document.getElementById(`message-${next}`)?.focus({ preventScroll: true });
    });
  }

  return (
    <div className="messages-frame">
      <div
        ref={scroller}
        className={conversation.kind === 'group' ? 'messages messages-group' : 'messages'}
        role="log"
        aria-live="off"
        aria-label={`Messages with ${titleOf(conversation)}`}
        aria-describedby={hint}
        tabIndex={0}
        data-testid="messages"
        data-count={items.length}
        data-ready={ready}
        onKeyDown={keys}
        onBlur={(event) => {
          if (!event.currentTarget.contains(event.relatedTarget) && menuKey === undefined) setActive(-1);
        }}
      >
        <div className="messages-sizer" style={{ height: virtualizer.getTotalSize() }}>
          {virtualizer.getVirtualItems().map(({ index, key, start }) => (
            <div
              key={key}
              ref={virtualizer.measureElement}
              data-index={index}
              className="message-slot"
              style={{ transform: `translateY(${start}px)` }}
            >
              <MessageRow
                item={items[index]!}
                index={index}
                total={items.length}
                group={conversation.kind === 'group'}
                found={found !== undefined && items[index]!.key === found}
                actions={actions}
              />
            </div>
          ))}
        </div>
      </div>
      {ready && items.every(({ note }) => note) && <Beginning conversation={conversation} />}
      {!atEnd && placed && (
        <button type="button" className="to-end" data-testid="to-end" onClick={() => virtualizer.scrollToEnd()}>
          <DownIcon />
          {fresh > 0 ? `${fresh > 99 ? '99+' : fresh} new` : 'Latest'}
        </button>
      )}
      <p id={hint} className="visually-hidden">
        Arrow keys go from message to message, Enter shows what can be done with one.
      </p>
      <Announcer items={items} />
      {menu}
    </div>
  );
}

type ListVirtualizer = ReturnType<typeof useVirtualizer<HTMLDivElement, Element>>;

/**
 * isAboveFold keeps the view still when a row above it changes its size. The library leaves that out while scrolling
 * up; but there a row does change, when a page comes in above it and the day's heading moves to an earlier row.
 */
function isAboveFold(item: VirtualItem, _delta: number, list: Virtualizer<HTMLDivElement, Element>): boolean {
  const offset = list.scrollOffset ?? 0;
  return list.itemSizeCache.has(item.key) ? item.end <= offset : item.start < offset;
}

/**
 * usePlacement scrolls once, when the list is ready: to the first unread message, else to the end. What is shown until
 * then, all that came live, begins at its end, where most stay.
 */
function usePlacement(virtualizer: ListVirtualizer, items: Item[], ready: boolean): boolean {
  const [placed, setPlaced] = useState(false);
  const begun = useRef(false);
  useLayoutEffect(() => {
    if (!ready && items.length > 0 && !begun.current) {
      begun.current = true;
      virtualizer.scrollToEnd();
    }
    if (placed || !ready) return;
    const unread = items.findIndex((item) => item.unread);
    if (unread >= 0) virtualizer.scrollToIndex(unread, { align: 'start' });
    else virtualizer.scrollToEnd();
    setPlaced(true);
  }, [placed, ready, items, virtualizer]);
  return placed;
}

interface Reading extends Pick<Props, 'conversation' | 'items' | 'complete'> {
  virtualizer: ListVirtualizer;
  scroller: RefObject<HTMLDivElement | null>;
  placed: boolean;
}

/** useReading fetches the past when the reader comes near it, and marks as read what was really seen. */
function useReading({ virtualizer, scroller, conversation, items, placed, complete }: Reading): boolean {
  const engine = useEngine();
  const [atEnd, setAtEnd] = useState(true);
  const last = items.findLast((item) => item.id !== undefined)?.id;
  const look = useCallback(() => {
    const element = scroller.current;
    if (!element || !placed) return;
    if (element.scrollTop < prefetch_px && !complete) void engine.older(conversation.id).catch(() => undefined);
    const end = element.scrollHeight - element.scrollTop - element.clientHeight <= end_px;
    setAtEnd(end);
    if (end && last !== undefined && document.visibilityState === 'visible') engine.markRead(conversation.id, last);
  }, [scroller, placed, complete, engine, conversation.id, last]);

  useEffect(() => {
    const element = scroller.current;
    // After the list has taken its new size and place.
    const frame = requestAnimationFrame(look);
    element?.addEventListener('scroll', look, { passive: true });
    document.addEventListener('visibilitychange', look);
    return () => {
      cancelAnimationFrame(frame);
      element?.removeEventListener('scroll', look);
      document.removeEventListener('visibilitychange', look);
    };
  }, [scroller, look, items.length]);

  // A smaller window, or a keyboard on the screen, must not push the end out of sight.
  useEffect(() => {
    const element = scroller.current;
    if (!element || !atEnd || !placed) return;
    let height = element.clientHeight;
    const observer = new ResizeObserver(() => {
      // The first call tells the size that it has: the list may just have been placed elsewhere.
      if (element.clientHeight === height) return;
      height = element.clientHeight;
      virtualizer.scrollToEnd();
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, [scroller, virtualizer, atEnd, placed]);
  return atEnd;
}

function Beginning({ conversation }: { conversation: ConversationRow }) {
  return (
    <div className="empty empty-conversation">
      <p>
        {conversation.kind === 'direct' ? 'This is the beginning of your conversation with ' : 'This is the beginning of '}
        <strong dir="auto">{titleOf(conversation)}</strong>. Say hello.
      </p>
    </div>
  );
}

/** Announcer reads out what arrives. The list itself is silent, for rows come and go in it with every scroll. */
function Announcer({ items }: { items: Item[] }) {
  const last = items.findLast((item) => !item.mine);
  const first = useRef(last?.key);
  return (
    <p className="visually-hidden" aria-live="polite">
      {last && last.key !== first.current && (last.note ? last.text : `${last.author}: ${last.text}`)}
    </p>
  );
}

/** estimate guesses a row's height until it is measured, so that the scroll bar does not jump much. */
function estimate(item: Item | undefined): number {
  if (!item) return 44;
  if (item.note) return 34 + (item.day === undefined ? 0 : 48);
  const lines = Math.ceil(item.text.length / 60);
  const extras = (item.reply ? 46 : 0) + (item.reactions.length > 0 ? 32 : 0) + (item.seenBy.length > 0 ? 22 : 0);
  return 18 + lines * 21 + extras + (item.first ? 10 : 2) + (item.day === undefined ? 0 : 48) + (item.unread ? 40 : 0);
}
