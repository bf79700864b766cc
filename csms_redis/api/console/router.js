/** Which view is shown: the part of the address behind the #, as in #/stations?csIdPrefix=a. */

/** The view's name and its parameters. */
export function route() {
  const [, name = "", search = ""] = /^#\/(\w*)(?:\?(.*))?$/.exec(location.hash) ?? [];
  return { name, parameters: Object.fromEntries(new URLSearchParams(search)) };
}

/** Note a view's parameters in the address, so that a reload and a bookmark show the same. */
export function replaceParameters(parameters) {
  const given = Object.entries(parameters).filter(([, value]) => value !== "");
  const search = given.length ? `?${new URLSearchParams(given)}` : "";
  history.replaceState(null, "", `#/${route().name}${search}`);
}
