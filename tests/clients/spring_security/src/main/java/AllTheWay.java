import com.nimbusds.jose.jwk.JWK;
import com.nimbusds.oauth2.sdk.TokenIntrospectionRequest;
import com.nimbusds.oauth2.sdk.TokenIntrospectionResponse;
import com.nimbusds.oauth2.sdk.TokenRevocationRequest;
import com.nimbusds.oauth2.sdk.as.AuthorizationServerMetadata;
import com.nimbusds.oauth2.sdk.auth.ClientAuthentication;
import com.nimbusds.oauth2.sdk.auth.ClientSecretBasic;
import com.nimbusds.oauth2.sdk.auth.Secret;
import com.nimbusds.oauth2.sdk.id.ClientID;
import com.nimbusds.oauth2.sdk.id.Issuer;
import com.nimbusds.oauth2.sdk.token.BearerAccessToken;
import java.nio.file.Files;
import java.nio.file.Path;
import org.springframework.security.oauth2.client.endpoint.NimbusJwtClientAuthenticationParametersConverter;
import org.springframework.security.oauth2.client.endpoint.OAuth2ClientCredentialsGrantRequest;
import org.springframework.security.oauth2.client.endpoint.RestClientClientCredentialsTokenResponseClient;
import org.springframework.security.oauth2.client.registration.ClientRegistration;
import org.springframework.security.oauth2.client.registration.ClientRegistrations;
import org.springframework.security.oauth2.core.AuthorizationGrantType;
import org.springframework.security.oauth2.core.ClientAuthenticationMethod;

/**
 * Takes tokens as Spring Security does that is told `issuer-uri` and `client_credentials`, and prints them, one a line.
 *
 * <p>Its arguments are the issuer, and then for each client its method, its id, and its secret or the file of its
 * private key, a JWK. A token of a client with `client_secret_basic` is then introspected and another one revoked with
 * Nimbus, which Spring Security stands on.
 */
public final class AllTheWay {

  public static void main(String[] arguments) throws Exception {
    String issuer = arguments[0];
    for (int at = 1; at < arguments.length; at += 3) {
      var method = new ClientAuthenticationMethod(arguments[at]);
      String clientId = arguments[at + 1];
      String proof = arguments[at + 2];
      System.out.println(token(issuer, method, clientId, proof));
      if (method.equals(ClientAuthenticationMethod.CLIENT_SECRET_BASIC)) {
        revoke(issuer, new ClientSecretBasic(new ClientID(clientId), new Secret(proof)),
            new BearerAccessToken(token(issuer, method, clientId, proof)));
      }
    }
  }

  private static String token(String issuer, ClientAuthenticationMethod method, String clientId, String proof)
      throws Exception {
    ClientRegistration.Builder registration = ClientRegistrations.fromIssuerLocation(issuer)
        .clientId(clientId)
        .clientAuthenticationMethod(method)
        .authorizationGrantType(AuthorizationGrantType.CLIENT_CREDENTIALS)
        .scope("reviews.read");
    var client = new RestClientClientCredentialsTokenResponseClient();
    if (method.equals(ClientAuthenticationMethod.PRIVATE_KEY_JWT)) {
      JWK key = JWK.parse(Files.readString(Path.of(proof)));
      client.addParametersConverter(new NimbusJwtClientAuthenticationParametersConverter<>(any -> key));
    } else {
      registration.clientSecret(proof);
    }
    var request = new OAuth2ClientCredentialsGrantRequest(registration.build());
    return client.getTokenResponse(request).getAccessToken().getTokenValue();
  }

  private static void revoke(String issuer, ClientAuthentication client, BearerAccessToken token) throws Exception {
    AuthorizationServerMetadata server = AuthorizationServerMetadata.resolve(new Issuer(issuer));
    var introspection = new TokenIntrospectionRequest(server.getIntrospectionEndpointURI(), client, token);
    var revocation = new TokenRevocationRequest(server.getRevocationEndpointURI(), client, token);
    check(active(introspection), "the token is not active");
    check(revocation.toHTTPRequest().send().indicatesSuccess(), "the token could not be revoked");
    check(!active(introspection), "the token is active after its revocation");
  }

  private static boolean active(TokenIntrospectionRequest request) throws Exception {
    return TokenIntrospectionResponse.parse(request.toHTTPRequest().send()).toSuccessResponse().isActive();
  }

  private static void check(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalStateException(otherwise);
    }
  }
}
