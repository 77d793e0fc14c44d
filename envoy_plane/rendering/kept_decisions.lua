-- Keeps what the checkpoint has decided, for as long as it holds. Each of Envoy's workers runs this with its own state.
--
-- A decision is used again only if the checkpoint was heard less than FRESH ms ago, the policy is the one that it was
-- made by, its time is not over, and nothing that it depends on was revoked since. In all other cases, and also when
-- this script breaks, the checkpoint is asked: it is left out only if `kept` was set, which happens last.

local CHECKPOINT, CAPACITY = "@checkpoint@", @capacity@
local FRESH, PAUSE, PATIENCE = 1000, 100, 300
local MAX_REVOKED = 10000
local FILTER, NAMESPACE = "envoy.filters.http.ext_authz", "sekisho"
local SUBJECTS = { "TOKEN", "CLIENT", "PARTNER", "PLATFORM" }

local position, policy  -- of the feed, as it was heard last
local floor = 0  -- decisions from before this position hold no more
local heard, asked, behind = 0, 0, 0  -- when, in ms
local young, old, count = {}, {}, 0  -- decisions, by token and backend, in two generations
local revoked, revoked_count = {}, 0  -- the position of each revocation, by subject and name

local function forget()
  young, old, count = {}, {}, 0
  revoked, revoked_count = {}, 0
end

local function message(text)
  return "\0\0\0\0" .. string.char(#text + 2) .. "\10" .. string.char(#text) .. text
end

-- Returns the text of an answer; nil if there is none.
local function text_of(body)
  if body == nil or #body < 7 or body:byte(1) ~= 0 or body:byte(6) ~= 10 then return nil end
  local length, shift, at = 0, 1, 7
  while true do
    local byte = body:byte(at)
    if byte == nil then return nil end
    length = length + (byte % 128) * shift
    at, shift = at + 1, shift * 128
    if byte < 128 then break end
  end
  if #body - at + 1 ~= length then return nil end
  return body:sub(at)
end

local function revoke(at, subject, name)
  if subject == "EVERYTHING" then
    floor = math.max(floor, at)
    return
  end
  local key = subject .. " " .. name
  if revoked[key] == nil then revoked_count = revoked_count + 1 end
  revoked[key] = at
  if revoked_count > MAX_REVOKED then
    forget()
    floor = position
  end
end

-- Takes in an answer to a question that was asked at a time.
local function hear(text, now)
  local first, rest = text:match("^([^\n]*)\n?(.*)$")
  local told, rules = first:match("^(%d+) (%S+)$")
  told = tonumber(told)
  if told == nil then return end
  if position == nil or told < position then
    -- Another checkpoint may be behind for a moment. If it stays so, the feed has lost something.
    if position ~= nil and behind == 0 then behind = now end
    if position ~= nil and now - behind < FRESH then return end
    forget()
    floor = told
  end
  position, policy, heard, behind = told, rules, now, 0
  for at, subject, name in rest:gmatch("(%d+) (%u+) ?([^\n]*)") do revoke(tonumber(at), subject, name) end
end

local function follow(handle, now)
  if now - asked < PAUSE and now >= asked then return end
  asked = now
  local headers, body = handle:httpCall(CHECKPOINT, {
    [":method"] = "POST",
    [":path"] = "/sekisho.envoy.KeptDecisions/Follow",
    [":authority"] = CHECKPOINT,
    ["content-type"] = "application/grpc",
    ["te"] = "trailers",
  }, message(position and string.format("%.0f", position) or ""), PATIENCE)
  local text = headers[":status"] == "200" and text_of(body)
  if text then hear(text, now) end
end

local function holds(kept, now)
  if kept.policy ~= policy or kept.position < floor or now >= kept.till or now < kept.since then return false end
  for _, subject in ipairs(SUBJECTS) do
    local at = kept[subject] and revoked[kept[subject]]
    if at and kept.position < at then return false end
  end
  return true
end

local function find(key)
  local kept = young[key]
  if kept then return kept end
  kept = old[key]
  if kept then
    old[key] = nil
    young[key], count = kept, count + 1
  end
  return kept
end

local function add(key, kept)
  if young[key] == nil then count = count + 1 end
  young[key] = kept
  if count > CAPACITY then young, old, count = {}, young, 0 end
end

function envoy_on_request(handle)
  local backend = handle:metadata():get("backend")
  if backend == nil or CAPACITY == 0 then return end -- it is asked about each time
  local now = handle:timestamp()
  if now < heard then heard = 0 end -- the clock went back
  follow(handle, now)
  now = handle:timestamp()
  local headers = handle:headers() -- only now: a question makes those from before it invalid
  if headers:getNumValues("authorization") ~= 1 then return end
  local key, path = headers:get("authorization") .. " " .. backend, headers:get(":path")
  local facts = handle:streamInfo():dynamicMetadata()
  local kept = find(key)
  if kept and not holds(kept, now) then
    young[key], count, kept = nil, count - 1, nil
  end
  if kept == nil or not kept.paths[path] then
    facts:set(NAMESPACE, "key", key)
    facts:set(NAMESPACE, "path", path)
    return
  end
  if now - heard >= FRESH then return end
  headers:replace("authorization", kept.private)
  facts:set(NAMESPACE, "facts", kept.facts)
  facts:set(NAMESPACE, "kept", true)
end

function envoy_on_response(handle)
  local metadata = handle:streamInfo():dynamicMetadata()
  local told, ours = metadata:get(FILTER), metadata:get(NAMESPACE)
  if told == nil then return end
  local facts = {}
  for name, value in pairs(told) do
    if type(value) == "string" then facts[name] = value end
  end
  metadata:set(NAMESPACE, "facts", facts)
  local keep = told["keep"]
  if keep == nil or ours == nil or ours["key"] == nil then return end
  local key, path, now = ours["key"], ours["path"], handle:timestamp()
  metadata:set(NAMESPACE, "key", "")
  local kept = find(key)
  if kept and kept.policy == keep.policy and kept.position == keep.position then
    kept.paths[path] = true
    return
  end
  facts["request_id"] = nil
  kept = {
    private = "Bearer " .. keep.private,
    policy = keep.policy,
    position = keep.position,
    since = now,
    till = now + keep.seconds * 1000,
    facts = facts,
    paths = { [path] = true },
  }
  for _, subject in ipairs(SUBJECTS) do
    if keep[subject] and keep[subject] ~= "" then kept[subject] = subject .. " " .. keep[subject] end
  end
  add(key, kept)
end
