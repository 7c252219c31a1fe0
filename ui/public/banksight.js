// What Chainlit's page lacks: names for icon buttons, language and direction, markers that open their source,
// and the quoted words marked on the page beside the chat. Everything here works without: it only makes things better.
(() => {
  'use strict';

  const STORED_THEME = 'vite-ui-theme';
  const RIGHT_TO_LEFT = new Set(['ar', 'fa', 'he', 'ur']);
  const SHORTEST_PIECE = 24; // letters and digits; shorter pieces of a quote would match anywhere

  // Runs before the page's own script: follow the system's light or dark setting until somebody chooses.
  if (!localStorage.getItem(STORED_THEME)) localStorage.setItem(STORED_THEME, 'system');

  const language = navigator.language || 'en';
  document.documentElement.lang = language;
  document.documentElement.dir = RIGHT_TO_LEFT.has(language.split('-')[0]) ? 'rtl' : 'ltr';

  // --- Names for what has only an icon ---------------------------------------------------------------------------

  const NAMES = [
    ['#new-chat-button', 'New conversation'],
    ['#theme-toggle', 'Light or dark'],
    ['#chat-submit', 'Send the question'],
    ['#stop-button', 'Stop answering'],
    ['#chat-settings-open-modal', 'Settings'],
    ['#sidebar-trigger-button', 'Conversations'],
    ['#search-chats-button', 'Search the conversations'],
    ['button:has(> .lucide-thumbs-up)', 'Good answer'],
    ['button:has(> .lucide-thumbs-down)', 'Bad answer'],
    ['.edit-message', 'Edit the question'],
    ['#side-view-title button', 'Close the source'],
    ['[data-panel-resize-handle-id], [data-resize-handle]', 'Width of the source'],
    ['button:has(> .lucide-copy), button[data-testid="copy-button"]', 'Copy the answer'],
    ['button:has(> .lucide-check)', 'Copied'],
    ['button:has(> .lucide-arrow-down)', 'Scroll to the end'],
    ['.page-pdf button:has(> .lucide-chevron-left)', 'Previous page'],
    ['.page-pdf button:has(> .lucide-chevron-right)', 'Next page'],
    ['.page-pdf button:has(> .lucide-zoom-out)', 'Smaller'],
    ['.page-pdf button:has(> .lucide-zoom-in)', 'Larger'],
    ['.page-pdf button[title], .page-pdf button:has(> .lucide-printer)', 'Open the document in a new tab'],
    ['.page-pdf a[download]', 'Download the document'],
  ];

  function nameIconButtons() {
    for (const [selector, name] of NAMES) {
      for (const element of document.querySelectorAll(selector)) {
        if (!element.hasAttribute('aria-label')) element.setAttribute('aria-label', name);
      }
    }
    const composer = document.querySelector('#chat-input');
    if (composer && !composer.hasAttribute('aria-label')) {
      composer.setAttribute('aria-label', composer.getAttribute('placeholder') || 'Question');
    }
    const step = document.querySelector('[data-step-type]');
    const conversation = step && step.parentElement;
    if (conversation && conversation.getAttribute('role') !== 'log') {
      conversation.setAttribute('role', 'log');
      conversation.setAttribute('aria-live', 'polite');
      conversation.setAttribute('aria-label', 'Conversation');
    }
    const panel = document.querySelector('#side-view-content');
    if (panel && !panel.hasAttribute('role')) {
      panel.setAttribute('role', 'region');
      panel.setAttribute('aria-labelledby', 'side-view-title');
      panel.tabIndex = 0; // so that the keyboard can scroll it
    }
  }

  // --- Markers -----------------------------------------------------------------------------------------------------

  function sourceButton(link) {
    const marker = `[${link.hash.replace('#source-', '')}]`;
    const message = link.closest('[data-step-type]');
    return message && [...message.querySelectorAll('button')].find((each) => each.textContent.startsWith(`${marker} `));
  }

  document.addEventListener('click', (event) => {
    const link = event.target.closest && event.target.closest('a[href^="#source-"]');
    if (!link) return;
    event.preventDefault();
    const button = sourceButton(link);
    if (button) button.click();
  });

  document.addEventListener('keydown', (event) => {
    if (event.key !== 'Escape' || document.querySelector('[role="dialog"], [role="menu"], [role="listbox"]')) return;
    const close = document.querySelector('#side-view-title button');
    if (close) close.click();
  });

  // --- The page beside the chat ------------------------------------------------------------------------------------

  const letters = (text) => text.normalize('NFKC').toLowerCase().replace(/[^\p{L}\p{N}]/gu, '');

  function fitToPanel(viewer) {
    const page = viewer.querySelector('.react-pdf__Page');
    const canvas = page && page.querySelector('canvas');
    const percent = [...viewer.querySelectorAll('span')].find((span) => /^\d+%$/.test(span.textContent));
    const scale = percent ? parseInt(percent.textContent, 10) / 100 : 0;
    if (!canvas || !scale || !canvas.style.width) return;
    const room = viewer.clientWidth - 36;
    const zoom = Math.min(1.6, Math.max(0.35, room / (parseFloat(canvas.style.width) / scale)));
    if (Math.abs((parseFloat(page.style.zoom) || 1) - zoom) > 0.01) page.style.zoom = zoom.toFixed(3);
  }

  // All letters and digits of the page, each with the span and the position where it stands.
  function lettersOf(spans) {
    const places = [];
    let text = '';
    for (const span of spans) {
      [...span.textContent].reduce((position, sign) => {
        for (const letter of letters(sign)) {
          text += letter;
          places.push([span, position, sign.length]);
        }
        return position + sign.length;
      }, 0);
    }
    return { text, places };
  }

  function rangesOf(quote, text) {
    const whole = letters(quote);
    const at = whole ? text.indexOf(whole) : -1;
    if (at >= 0) return [[at, at + whole.length]];
    const pieces = quote.split(/(?<=[.;:!?])\s+|\n|\s[|•]\s/).map(letters).filter((piece) => piece.length >= SHORTEST_PIECE);
    return pieces.map((piece) => [text.indexOf(piece), piece.length]).filter(([start]) => start >= 0)
      .map(([start, length]) => [start, start + length]);
  }

  function markSpan(span, from, to) {
    const text = span.textContent;
    while (from > 0 && /[^\s\p{L}\p{N}]/u.test(text[from - 1])) from -= 1; // "$" before, "." after
    while (to < text.length && /[^\s\p{L}\p{N}]/u.test(text[to])) to += 1;
    const mark = document.createElement('mark');
    mark.className = 'quoted';
    mark.textContent = text.slice(from, to);
    span.replaceChildren(text.slice(0, from), mark, text.slice(to));
  }

  function markQuote(viewer, quote) {
    const end = viewer.querySelector('.textLayer .endOfContent');
    if (!end || end.dataset.marked === quote) return;
    end.dataset.marked = quote;
    const spans = [...viewer.querySelectorAll('.textLayer span')].filter((span) => !span.childElementCount);
    const { text, places } = lettersOf(spans);
    const parts = new Map();
    for (const [start, stop] of rangesOf(quote, text)) {
      for (const [span, position, length] of places.slice(start, stop)) {
        const [from, to] = parts.get(span) || [position, position];
        parts.set(span, [Math.min(from, position), Math.max(to, position + length)]);
      }
    }
    for (const [span, [from, to]] of parts) markSpan(span, from, to);
    scrollTo(viewer.querySelector('mark.quoted'), viewer.lastElementChild);
  }

  // Scrolls this one container; scrollIntoView would move the panel's heading out of sight as well.
  function scrollTo(element, container) {
    if (!element || !container) return;
    const offset = element.getBoundingClientRect().top - container.getBoundingClientRect().top;
    if (offset < 0 || offset > container.clientHeight * 0.7) container.scrollTop += offset - container.clientHeight / 3;
  }

  function scrollerOf(element) {
    while (element && !(element.scrollHeight > element.clientHeight && /auto|scroll/.test(getComputedStyle(element).overflowY))) {
      element = element.parentElement;
    }
    return element;
  }

  function showQuote() {
    const panel = document.querySelector('#side-view-content');
    if (!panel) return;
    const quote = panel.querySelector('blockquote');
    const viewer = panel.querySelector('.page-pdf');
    if (viewer) {
      fitToPanel(viewer);
      if (quote) markQuote(viewer, quote.textContent.trim());
    }
    const words = panel.querySelector('.page-text .font-bold');
    if (words && !words.dataset.shown) {
      words.dataset.shown = 'yes';
      scrollTo(words, scrollerOf(words));
    }
  }

  // --- A refused sign-in, once ------------------------------------------------------------------------------------

  // The form has said it in a sentence; Chainlit says it again in a corner, as the code that its server sent.
  function hideCodes() {
    for (const toast of document.querySelectorAll('[data-sonner-toast]')) {
      if (toast.textContent.includes('credentialssignin')) toast.hidden = true;
    }
  }

  // --- Once per frame, however much has changed -------------------------------------------------------------------

  let waiting = false;
  function look() {
    waiting = false;
    nameIconButtons();
    showQuote();
    hideCodes();
  }
  function lookSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(look);
  }
  new MutationObserver(lookSoon).observe(document.documentElement, { childList: true, subtree: true });
  window.addEventListener('resize', lookSoon);
  lookSoon();
})();
