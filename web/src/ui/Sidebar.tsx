import { useState } from 'react';
import type { FormEvent, KeyboardEvent } from 'react';
import { Avatar } from './Avatar';
import { CitySelect } from './CitySelect';
import { useChat, useEngine } from './context';
import { ConversationList } from './ConversationList';
import { explain } from './explain';
import { Globe, GroupIcon, PlusIcon, SettingsIcon } from './icons';
import { NewGroup, Settings } from './later';
import { PeopleList } from './PeopleList';
import { RegionChip } from './RegionChip';

type Tab = 'chats' | 'people';

export function Sidebar() {
  const [tab, setTab] = useState<Tab>('chats');
  const [search, setSearch] = useState('');
  const asking = useChat((state) => state.contacts.filter((contact) => contact.state === 'incoming').length);
  const tabs: { id: Tab; label: string }[] = [
    { id: 'chats', label: 'Chats' },
    { id: 'people', label: 'People' },
  ];
  function arrows(event: KeyboardEvent) {
    if (event.key !== 'ArrowLeft' && event.key !== 'ArrowRight') return;
    const next = tab === 'chats' ? 'people' : 'chats';
    setTab(next);
    document.getElementById(`tab-${next}`)?.focus();
  }
  return (
    <nav className="sidebar" aria-label="Conversations">
      <header className="sidebar-head">
        <h1 className="brand">
          <Globe className="globe globe-brand" />
          Meridian
        </h1>
        <RegionChip />
      </header>
      <div className="tabs" role="tablist" aria-label="What to list" onKeyDown={arrows}>
        {tabs.map(({ id, label }) => (
          <button
            key={id}
            type="button"
            role="tab"
            id={`tab-${id}`}
            data-testid={`tab-${id}`}
            aria-selected={tab === id}
            aria-controls="sidebar-panel"
            tabIndex={tab === id ? 0 : -1}
            onClick={() => setTab(id)}
          >
            {label}
            {id === 'people' && asking > 0 && <span className="badge">{asking}</span>}
          </button>
        ))}
      </div>
      <div className="sidebar-panel" id="sidebar-panel" role="tabpanel" aria-labelledby={`tab-${tab}`}>
        {tab === 'chats' ? (
          <>
            <NewChat search={search} onSearch={setSearch} />
            <ConversationList search={search} />
          </>
        ) : (
          <PeopleList onChat={() => setTab('chats')} />
        )}
      </div>
      <CitySelect />
      <Self />
    </nav>
  );
}

/** NewChat finds among the conversations while typing, and starts one with whoever is named on Enter. */
function NewChat({ search, onSearch }: { search: string; onSearch: (text: string) => void }) {
  const engine = useEngine();
  const [failure, setFailure] = useState<string>();
  const [grouping, setGrouping] = useState(false);
  async function submit(event: FormEvent) {
    event.preventDefault();
    const username = search.trim().replace(/^@/, '');
    if (username === '') return;
    try {
      await engine.startChat(username);
      onSearch('');
    } catch (error) {
      setFailure(explain(error));
    }
  }
  return (
    <>
      <form className="new-chat" role="search" onSubmit={(event) => void submit(event)}>
        <div className="new-chat-line">
          <div className="new-chat-row">
            <input
              type="text"
              data-testid="new-chat-input"
              aria-label="Find a chat, or start one by username"
              placeholder="Find or start a chat"
              autoComplete="off"
              autoCapitalize="none"
              spellCheck={false}
              value={search}
              onChange={(event) => {
                onSearch(event.target.value);
                setFailure(undefined);
              }}
            />
            <button type="submit" className="icon-button" data-testid="new-chat-submit" aria-label="Start the chat">
              <PlusIcon />
            </button>
          </div>
          <button type="button" className="icon-button" data-testid="new-group-open" aria-label="New group" title="New group" onClick={() => setGrouping(true)}>
            <GroupIcon />
          </button>
        </div>
        {failure && (
          <p className="form-error" role="alert">
            {failure}
          </p>
        )}
      </form>
      {grouping && <NewGroup onClose={() => setGrouping(false)} />}
    </>
  );
}

function Self() {
  const me = useChat((state) => state.me);
  const [open, setOpen] = useState(false);
  if (!me) return null;
  return (
    <footer className="self">
      <Avatar name={me.display_name ?? me.username} />
      <span className="self-name">{me.display_name ?? me.username}</span>
      <button type="button" className="icon-button" data-testid="settings-open" aria-label="Settings" onClick={() => setOpen(true)}>
        <SettingsIcon />
      </button>
      {open && <Settings onClose={() => setOpen(false)} />}
    </footer>
  );
}
