import { Auth } from './Auth';
import { Chat } from './Chat';
import { useChat } from './context';
import { Globe } from './icons';

export function App() {
  const phase = useChat((state) => state.phase);
  if (phase === 'signed-out') return <Auth />;
  if (phase === 'ready') return <Chat />;
  return (
    <main className="splash" aria-busy="true">
      <Globe className="globe globe-large" />
      <h1 className="visually-hidden">Meridian</h1>
    </main>
  );
}
