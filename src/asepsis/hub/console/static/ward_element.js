// The few ways in which tiles write to the page. Text from outside is only ever textContent.

export function element(tag, className, text) {
  const found = document.createElement(tag);
  if (className) found.className = className;
  if (text !== undefined) found.textContent = text;
  return found;
}

export function link(href, className, text) {
  const found = element("a", className, text);
  found.href = href;
  return found;
}

// Sets text only where it differs, so that an unchanged tile costs no layout.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Keeps as many children as there are items; `make` adds one, `fill` writes one.
export function rows(parent, items, make, fill) {
  while (parent.children.length > items.length) parent.lastChild.remove();
  while (parent.children.length < items.length) parent.append(make());
  items.forEach((item, index) => fill(parent.children[index], item));
}
