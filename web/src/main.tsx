import { createRoot } from 'react-dom/client';
import { Engine } from './engine/engine';
import { browserEnvironment } from './engine/environment';
import { readTheme } from './store/accounts';
import { App } from './ui/App';
import { EngineContext } from './ui/context';
import { applyTheme } from './ui/theme';
import './ui/styles/base.css';
import './ui/styles/auth.css';
import './ui/styles/sidebar.css';
import './ui/styles/conversation.css';
import './ui/styles/messages.css';
import './ui/styles/dialog.css';

applyTheme(readTheme());
const engine = new Engine(browserEnvironment());
createRoot(document.getElementById('root')!).render(
  <EngineContext value={engine}>
    <App />
  </EngineContext>,
);
void engine.start();
