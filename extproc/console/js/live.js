// The one stream of status documents, with reconnect. EventSource itself comes back after a broken connection, but not after a refusal.

const SILENT = 12_000; // a healthy stream says something every 5 s
const REST = 60_000; // a browser has six connections for one host: a page that nobody sees lets go of its own

/** Calls `told(document)` for each status, `lost(why)` where there is none. */
export function follow(told, lost) {
  let source = null;
  let last = Date.now();
  let wait = 500;
  let timer = 0;
  let rest = 0;
  let resting = false;

  function open() {
    clearTimeout(timer);
    source?.close();
    source = new EventSource("v1/live");
    last = Date.now();
    source.addEventListener("status", (event) => {
      last = Date.now();
      wait = 500;
      told(JSON.parse(event.data));
    });
    source.addEventListener("silent", (event) => {
      last = Date.now();
      lost(JSON.parse(event.data).problems[0]?.message || "the controller does not answer");
    });
    source.addEventListener("error", () => {
      lost("the connection to the controller is lost");
      source.close();
      timer = setTimeout(open, wait);
      wait = Math.min(wait * 1.6, 3_000);
    });
  }

  document.addEventListener("visibilitychange", () => {
    clearTimeout(rest);
    if (document.hidden) {
      rest = setTimeout(() => {
        resting = true;
        clearTimeout(timer);
        source.close();
      }, REST);
    } else if (resting) {
      resting = false;
      open();
    }
  });
  setInterval(() => {
    if (!resting && Date.now() - last > SILENT) {
      lost("nothing has been heard of the controller for a while");
      open();
    }
  }, 2_000);
  open();
  return open;
}
