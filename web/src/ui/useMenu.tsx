import { useCallback, useMemo, useState } from 'react';
import type { ConversationRow } from '../protocol/types';
import { useEngine } from './context';
import { Confirm } from './Dialog';
import type { Item } from './items';
import { MessageMenu } from './MessageMenu';
import type { RowActions } from './MessageRow';
import { useLatest } from './useLatest';

interface MenuInput {
  conversation: ConversationRow;
  items: Item[];
  onReply: (item: Item) => void;
  onEdit: (item: Item) => void;
  jump: (message_id: string) => void;
}

/** useMenu gives the menu of the message that has it open, and what the rows can ask for. */
export function useMenu({ conversation, items, jump, onReply, onEdit }: MenuInput) {
  const engine = useEngine();
  const [menuKey, setMenuKey] = useState<string>();
  const [doomed, setDoomed] = useState<string>();
  const latest = useLatest(items);
  const { id } = conversation;
  const actions: RowActions = useMemo(
    () => ({
      openMenu: (index) => setMenuKey(latest.current[index]?.key),
      jump,
      react: (item, emoji, on) => item.id !== undefined && engine.change(id, item.id, { kind: 'react', emoji, on }),
    }),
    [engine, id, jump, latest],
  );
  const index = items.findIndex(({ key }) => key === menuKey);
  const item = items[index];
  const anchor = document.querySelector<HTMLElement>(`#message-${index} .bubble`);
  const close = useCallback(() => {
    const at = latest.current.findIndex(({ key }) => key === menuKey);
    // Who clicked elsewhere wants the focus there; the composer takes it after this where it wants it.
    const inMenu = document.activeElement === document.body || document.activeElement?.closest('[role=menu]');
    if (inMenu) document.getElementById(`message-${at}`)?.focus({ preventScroll: true });
    setMenuKey((now) => (now === menuKey ? undefined : now));
  }, [latest, menuKey]);
  const doomedId = items.find(({ key }) => key === doomed)?.id;
  const menu = (
    <>
      {item && anchor && (
        <MessageMenu
          key={menuKey}
          item={item}
          anchor={anchor}
          onReact={(emoji, on) => actions.react(item, emoji, on)}
          onReply={() => onReply(item)}
          onEdit={() => onEdit(item)}
          onDelete={() => setDoomed(item.key)}
          onClose={close}
        />
      )}
      {doomedId !== undefined && (
        <Confirm
          title="Delete this message?"
          text="It goes for everybody in this conversation, and cannot be brought back."
          action="Delete"
          onClose={() => setDoomed(undefined)}
          onConfirm={() => engine.change(id, doomedId, { kind: 'delete' })}
        />
      )}
    </>
  );
  return { menu, menuKey, actions };
}
