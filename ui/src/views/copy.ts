/** Copies text; pages that are served without TLS have no clipboard object, but can copy a selection. */
export function copyText(value: string): void {
  if (navigator.clipboard && window.isSecureContext) {
    void navigator.clipboard.writeText(value);
    return;
  }
  const field = document.createElement("textarea");
  field.value = value;
  field.setAttribute("readonly", "");
  field.className = "for-screen-readers";
  document.body.append(field);
  field.select();
  document.execCommand("copy");
  field.remove();
}

/** Hands a file to the reader. */
export function saveFile(name: string, content: BlobPart, type: string): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
