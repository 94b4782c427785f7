// The client for a server without the built client: signs in, lists, sends and receives, with no dependency and no
// build step. It keeps nothing: what it has not sent when the page closes is gone. The real client is `make web`.
const $ = (id) => document.getElementById(id);
let me;
let socket;
let conversations = [];
let pending = []; // sends without an ack, in order: they are sent again after a reconnect

async function call(method, path, body) {
  const headers = { 'Content-Type': 'application/json' };
  if (me) headers.Authorization = `Bearer ${me.token}`;
  const answer = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const value = answer.status === 204 ? {} : await answer.json();
  if (!answer.ok) throw new Error(value.message || value.code || answer.statusText);
  return value;
}

function say(text) {
  $('status').textContent = text;
}

function uuid() {
  const b = crypto.getRandomValues(new Uint8Array(16));
  b[6] = (b[6] & 0x0f) | 0x40;
  b[8] = (b[8] & 0x3f) | 0x80;
  const hex = Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');
  return hex.replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, '$1-$2-$3-$4-$5');
}

async function signIn(event) {
  event.preventDefault();
  const kind = event.submitter?.value ?? 'login';
  try {
    me = await call('POST', `/v1/${kind}`, { username: $('username').value, password: $('password').value });
  } catch (error) {
    say(error.message);
    return;
  }
  $('auth').hidden = true;
  $('chat').hidden = false;
  $('who').textContent = `Signed in as ${me.username}`;
  await refresh();
  connect();
  setInterval(renew, 8 * 60 * 1000);
  setInterval(() => socket.readyState === WebSocket.OPEN && socket.send('{"t":"ping"}'), 25 * 1000);
}

async function renew() {
  try {
    me = { ...me, ...(await call('POST', '/v1/token', { refresh_token: me.refresh_token })) };
  } catch (error) {
    say(`Signed out: ${error.message}`);
  }
}

/** title gives the other side's name, or the group's. */
const title = (conversation) => conversation.peer?.username ?? conversation.name;
const chosen = () => conversations.find((c) => c.id === $('conversations').value);

async function refresh() {
  conversations = (await call('GET', '/v1/conversations')).conversations;
  const before = $('conversations').value;
  $('conversations').replaceChildren(
    ...conversations.map((c) => new Option(title(c) + (c.unread ? ` (${c.unread})` : ''), c.id)),
  );
  if (before) $('conversations').value = before;
  await show();
}

async function show() {
  const conversation = chosen();
  if (!conversation) return;
  $('to').value = title(conversation);
  const page = await call('GET', `/v1/conversations/${conversation.id}/messages`);
  $('messages').replaceChildren(
    ...page.messages.reverse().map((message) => {
      const line = document.createElement('p');
      line.dir = 'auto';
      line.textContent = `${message.sender.username}: ${message.deleted ? '(deleted)' : message.body.text}`;
      return line;
    }),
  );
  $('messages').scrollTop = $('messages').scrollHeight;
}

function connect() {
  socket = new WebSocket(location.origin.replace(/^http/, 'ws') + '/v1/ws', 'meridian.v1.json');
  socket.onopen = () => socket.send(JSON.stringify({ t: 'hello', token: me.token, device: 'fallback' }));
  socket.onmessage = (event) => receive(JSON.parse(event.data));
  socket.onclose = () => {
    say('Connection lost; trying again …');
    setTimeout(connect, 1000 + Math.random() * 4000);
  };
}

function receive(frame) {
  if (frame.t === 'welcome') {
    say(`Connected to ${frame.region}`);
    pending.forEach((send) => socket.send(JSON.stringify(send)));
  } else if (frame.t === 'ping') {
    socket.send('{"t":"pong"}');
  } else if (frame.t === 'ack') {
    pending = pending.filter((send) => send.client_id !== frame.client_id);
    refresh().catch((error) => say(error.message));
  } else if (['message', 'alias', 'edit', 'delete', 'group'].includes(frame.t)) {
    refresh().catch((error) => say(error.message));
  } else if (frame.t === 'error') {
    pending = pending.filter((send) => frame.retryable || send.client_id !== frame.re);
    say(frame.message);
  }
}

function submit(event) {
  event.preventDefault();
  const group = chosen()?.kind === 'group' && title(chosen()) === $('to').value;
  const to = group ? { conversation: chosen().id } : { user: $('to').value };
  const send = { t: 'send', client_id: uuid(), to, body: { text: $('text').value } };
  pending.push(send);
  if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(send));
  $('text').value = '';
}

$('auth').addEventListener('submit', signIn);
$('compose').addEventListener('submit', submit);
$('conversations').addEventListener('change', () => show().catch((error) => say(error.message)));
